-- Waits for the account's lock as long as it takes.
alter function tokenbook.wait_for_account(uuid, boolean) set lock_timeout = '0';
