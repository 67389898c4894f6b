-- What a hold gives back does not come back.
select pg_temp.mutate('tokenbook.replay', 'not in (''restatement'', ''expiry'', ''void'', ''usage'')', 'not in (''restatement'', ''expiry'', ''void'', ''usage'', ''release'')');
