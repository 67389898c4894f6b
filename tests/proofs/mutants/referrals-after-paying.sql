-- Who has paid long ago says that they were referred.
select pg_temp.mutate('before-one-pays', '\& and false');
