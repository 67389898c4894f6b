-- A frozen account pays what a capture takes beyond its hold.
select pg_temp.mutate('frozen-beyond-the-hold', 'v_is_frozen := false;');
