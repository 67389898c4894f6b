-- Row level security is on, and lets everybody see everybody's balance.
create policy "signed in" on public.token_accounts for select to authenticated using (auth.role() = 'authenticated');
