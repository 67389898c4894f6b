-- Whether a user can spend does not look at their caps.
select pg_temp.mutate('asked-with-caps', '');
