import { Link } from "@tanstack/react-router";
import classes from "./Sections.module.css";

const sections = [
  { path: "", name: "Users" },
  { path: "payments", name: "Payments" },
];

/** The way from one page to another. */
export function Sections({ current }: { current: string }) {
  return (
    <nav className={classes["bar"]} aria-label="Pages">
      {sections.map(({ path, name }) => (
        <Link
          key={path}
          to="/admin/$"
          params={{ _splat: path }}
          className={classes["link"]!}
          aria-current={current === path ? "page" : undefined}
        >
          {name}
        </Link>
      ))}
    </nav>
  );
}
