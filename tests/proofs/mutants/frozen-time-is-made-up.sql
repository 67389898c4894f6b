-- What a schedule would have given while the account was frozen is given afterwards.
select pg_temp.mutate('frozen-time-is-not-made-up', 'greatest(', 'least(');
