-- Waits for the account of another user while it holds one: two that do so wait for each other.
select pg_temp.mutate('parts-wait-for-nobody', ' skip locked', '');
