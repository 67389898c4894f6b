-- A new user is given their plan while their row is written, before their identity at a provider is there.
create trigger tokenbook_register_at_once
  after insert on auth.users for each row execute function tokenbook.register_user();
