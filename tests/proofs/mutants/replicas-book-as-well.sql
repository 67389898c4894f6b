-- A balance books what is due wherever it is asked, also where nothing can be written.
select pg_temp.mutate('replicas-book-nothing', 'v_may_book := true;');
