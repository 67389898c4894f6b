-- A new user is given their plan while their row is written, before their identity at a provider is there.
drop trigger tokenbook_register_user on auth.users;
create trigger tokenbook_register_user
  after insert on auth.users for each row execute function tokenbook.register_user();
