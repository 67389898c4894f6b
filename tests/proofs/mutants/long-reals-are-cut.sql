-- A counter of type real is noted with six digits.
select pg_temp.mutate('reals-keep-their-digits', '::text::numeric', '::numeric');
