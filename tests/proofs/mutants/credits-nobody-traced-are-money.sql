-- What is paid with a credit that nobody can trace counts as money, though nobody has decided on that credit.
select pg_temp.mutate('credits-are-decided-first', '');
