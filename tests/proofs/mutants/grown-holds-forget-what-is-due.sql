-- A capture beyond a part of a budget writes when the account is due as it was before the part grew.
select pg_temp.mutate('grown-is-due-anew', 'select a.ctid, v_due_at, v_alert_at,');
