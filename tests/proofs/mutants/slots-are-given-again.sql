-- A slot that was given is given once more with the next one.
select pg_temp.mutate('slots-from-the-next', '\& v_first := greatest(v_first - 1, 0);');
