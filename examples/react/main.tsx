import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { TokenbookProvider } from "tokenbook/react";
import { App } from "./App.tsx";
import { supabase } from "./supabase.ts";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <QueryClientProvider client={new QueryClient()}>
      <TokenbookProvider supabase={supabase}>
        <App />
      </TokenbookProvider>
    </QueryClientProvider>
  </StrictMode>,
);
