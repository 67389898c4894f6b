/** What Vite gives a page: the `VITE_` settings that it was built with. */
interface ImportMeta {
  readonly env: { readonly [name: `VITE_${string}`]: string };
}
