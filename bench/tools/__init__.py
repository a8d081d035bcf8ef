"""What the benches share. script/bench runs only the files one level up."""
