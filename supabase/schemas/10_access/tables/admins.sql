-- The users who are administrators right now. A token says so too (app_metadata.role), but a token lives
-- on for up to an hour after a right is taken away; this row is gone at once.
create table tokenbook.admins (
  user_id uuid primary key,
  added_at timestamptz not null default now(),
  added_by text not null default current_user,
  replaced_role jsonb
    constraint replaced_role_is_of_app_metadata check (jsonb_typeof(replaced_role) = 'object')
);
comment on table tokenbook.admins is
  'Users who may grant and correct tokens, together with app_metadata.role = ''admin'' in their token. Kept by `tokenbook admin`.';
comment on column tokenbook.admins.user_id is 'The administrator, a user of auth.users.';
comment on column tokenbook.admins.added_at is 'Since when.';
comment on column tokenbook.admins.added_by is 'The database role, or a name, that made them one.';
comment on column tokenbook.admins.replaced_role is
  'What app_metadata said of role before it was set to admin here, to be put back when the right goes: {} (nothing) or {role: …}. NULL: it was not set here, and stays.';
alter table tokenbook.admins enable row level security;
