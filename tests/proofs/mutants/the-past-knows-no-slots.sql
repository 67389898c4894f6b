-- Who looks back at a moment is not told what was due then.
select pg_temp.mutate('past-slots-count', '\& where false');
