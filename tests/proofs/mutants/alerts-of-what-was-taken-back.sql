-- Judges each entry by itself and not the commit.
select pg_temp.mutate('tokenbook.cross_thresholds', 'v_stood.changed_in = pg_current_xact_id()', 'false');
