/** `rendered.tsx` in the browser. */
import { createClient } from "@supabase/supabase-js";
import { hydrateRoot } from "react-dom/client";
import { Rendered, type RenderedProps } from "./rendered.tsx";

interface Written extends Omit<RenderedProps, "supabase"> {
  token: string;
}

const { token, ...written } = JSON.parse(document.getElementById("written")!.textContent) as Written;
const supabase = createClient(location.origin, import.meta.env.VITE_KEY!, {
  accessToken: () => Promise.resolve(token),
});
const faults: string[] = [];
Object.assign(window, { faults });
hydrateRoot(document.getElementById("root")!, <Rendered supabase={supabase} {...written} />, {
  onRecoverableError: (error) => faults.push(String(error)),
});
