"""From files as their owners ship them to a checked `folder:`: five public sets, DICOM and NIfTI."""
