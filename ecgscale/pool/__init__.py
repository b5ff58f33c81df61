"""Many runs on many machines: who does which, where each stands, and Ray, which finds them a place."""
