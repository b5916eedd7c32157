-- Nodes of a user's pecan.xml that have no effect, for the condition SettingsIgnored.

ALTER TABLE pecan_operator.workflow ADD COLUMN settings_ignored text[] NOT NULL DEFAULT '{}';
