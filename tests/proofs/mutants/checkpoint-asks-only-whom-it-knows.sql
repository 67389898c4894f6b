-- Users of whom the checkpoint has no line are passed over, whatever their entries are dated.
select pg_temp.mutate('users-in-no-line', 'where false;');
