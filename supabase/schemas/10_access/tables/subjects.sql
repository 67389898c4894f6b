-- Which user a subject of another sign-in service is: Clerk, Auth0 and Firebase do not name users by a uuid.
create table tokenbook.subjects (
  issuer text not null,
  subject text not null,
  user_id uuid not null,
  registered_at timestamptz not null default clock_timestamp(),
  constraint subjects_pkey primary key (issuer, subject),
  constraint subjects_issuer_is_bounded check (length(issuer) between 1 and 255),
  constraint subjects_subject_is_bounded check (length(subject) between 1 and 255)
);
comment on table tokenbook.subjects is
  'Whom other auth servers than the project''s own mean by a subject that is no uuid. Kept by set_token_subject, read by tokenbook.caller_id.';
comment on column tokenbook.subjects.issuer is 'The auth server, as its tokens name it (iss). Two of them may use the same subject for two people.';
comment on column tokenbook.subjects.subject is 'Whom it means (sub).';
comment on column tokenbook.subjects.user_id is 'The user of auth.users who that is. They may have several.';
comment on column tokenbook.subjects.registered_at is 'Since when.';
create index subjects_user_idx on tokenbook.subjects (user_id);
alter table tokenbook.subjects enable row level security;
