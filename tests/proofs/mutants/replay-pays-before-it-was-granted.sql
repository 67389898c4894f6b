-- An old deduction is paid by a grant that came after it.
select pg_temp.mutate('tokenbook.replay', 'v_event.stage = 2 or v_granted_at[v_nth] <= v_event.at', 'true');
