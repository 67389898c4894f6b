-- Books what an admin does under the id in the admin's own user_metadata.
select pg_temp.mutate('admin-is-the-subject',
  $$\& actor_id := coalesce((auth.jwt() -> 'user_metadata' ->> 'admin_id')::uuid, actor_id);$$);
