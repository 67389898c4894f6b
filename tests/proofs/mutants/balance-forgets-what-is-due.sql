-- A balance does not ask whether something has run out.
select pg_temp.mutate('balance-counts-the-due', 'a.next_due_at <= v_now', 'false');
