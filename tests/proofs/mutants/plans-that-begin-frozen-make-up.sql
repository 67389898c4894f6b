-- A plan that has come into force while the account was frozen gives all of its slots since then.
select pg_temp.mutate('frozen-time-changes-plans', '');
