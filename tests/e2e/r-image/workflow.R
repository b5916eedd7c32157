# Stands for PEcAn's web/workflow.R. The program R of this image does not read it: it wants a copy in the workflow's folder.
