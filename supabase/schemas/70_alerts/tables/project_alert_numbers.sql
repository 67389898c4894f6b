-- The numbers of the project's own alerts (token_alerts of the user that is all zeros). They may have gaps: no
-- transaction waits for another to raise an alert.
create sequence tokenbook.project_alert_numbers as bigint;
comment on sequence tokenbook.project_alert_numbers is
  'Numbers of the alerts that are the project''s and no user''s.';
