-- A usual spending does not ask for the caps that everyone is under.
select pg_temp.mutate('usual-no-common-caps', 'and not r.has_common_caps', '');
