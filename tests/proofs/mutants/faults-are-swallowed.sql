-- Goes on when the ledger could not be written, so that the caller gets an answer.
select pg_temp.mutate('faults-are-told', $$begin
    \&
    exception when others then
      raise notice 'books not written: %', sqlerrm;
    end;$$);
