-- What an archive's file says of somebody who was erased since is in the table again.
select pg_temp.mutate('erased-stays-erased', 'and false;');
