-- A table is of users when it is one of those that were there first.
select pg_temp.mutate('whatever-names-a-user', 'a.attname in (''user_id'', ''member_id'')', 'a.attname = ''nobody''');
