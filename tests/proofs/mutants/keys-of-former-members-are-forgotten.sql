-- A key is looked for among what the user's own account booked, and nowhere else.
select pg_temp.mutate('keys-of-former-members', 'if false');
