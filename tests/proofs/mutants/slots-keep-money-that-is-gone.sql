-- A slot gives all of its tokens, whatever part of its money is gone.
select pg_temp.mutate('slots-share-the-loss', 'v_slot.taken_back := 0;');
