-- A usual spending does not ask whether its account has caps.
select pg_temp.mutate('usual-no-caps', '');
