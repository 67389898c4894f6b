-- A payment that names its customer alone does not find its user.
select pg_temp.mutate('customers-find-users', '\& and false');
