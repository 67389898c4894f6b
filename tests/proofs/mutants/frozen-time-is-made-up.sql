-- What a schedule would have given while the account was frozen is given afterwards.
select pg_temp.mutate('frozen-time-is-lost', 'greatest(', 'least(');
