-- The clock is advanced at once, past all that was to come on the way.
select pg_temp.mutate('from-due-to-due', 'least(v_left, ceil(extract(epoch from v_account.next_due_at - v_now)))', 'v_left');
