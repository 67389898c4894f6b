/** The mark: lines of a ledger. */
export function Brand() {
  return (
    <svg width="22" height="22" viewBox="0 0 16 16" aria-hidden>
      <rect width="16" height="16" rx="4" fill="var(--accent)" />
      <path
        d="M4 5h8M4 8h8M4 11h4"
        stroke="var(--mantine-color-body)"
        strokeWidth="1.5"
        strokeLinecap="round"
        fill="none"
      />
    </svg>
  );
}
