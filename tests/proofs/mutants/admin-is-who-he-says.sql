-- Books what an admin does in the name that he gives in his user_metadata.
select pg_temp.mutate('admin-is-the-subject',
  $$\& actor_id := coalesce((auth.jwt() -> 'user_metadata' ->> 'admin_id')::uuid, actor_id);$$);
