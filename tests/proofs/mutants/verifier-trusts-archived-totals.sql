-- What is archived is compared with nothing.
select pg_temp.mutate('archived-uses-are-booked', 'is distinct from (a.uses, a.tokens)', 'is null');
