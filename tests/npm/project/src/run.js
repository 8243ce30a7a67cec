import { names, tried } from "./main.js";

console.log(JSON.stringify({ names, requests: await tried() }));
