"""What a frozen backbone is asked, and the rows that its answers become."""
