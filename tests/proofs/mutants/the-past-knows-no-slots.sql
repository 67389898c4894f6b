-- A balance as of a moment leaves out what was due then.
select pg_temp.mutate('past-slots-count', '\& where false');
