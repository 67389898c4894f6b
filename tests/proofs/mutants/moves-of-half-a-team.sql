-- A move does not ask whether somebody of the team is missing.
select pg_temp.mutate('teams-go-together', 'p.id <> all', 'false and p.id <> all');
