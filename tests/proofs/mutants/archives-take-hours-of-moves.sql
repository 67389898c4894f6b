-- An archive adds up an hour in which a user came with a move, of which reports count a part.
select pg_temp.mutate('hours-of-moves-stay', '');
