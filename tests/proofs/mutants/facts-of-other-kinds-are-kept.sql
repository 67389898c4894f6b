-- What was refunded in all is looked at only where that is the kind of the fact.
select pg_temp.mutate('own-fields-only', 'when v_kind = ''refunded'' and coalesce(p_facts ->> ''refunded_cents'', '''') !~ v_cents then ''refunded_cents''');
